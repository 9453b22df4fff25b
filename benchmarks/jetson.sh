#!/bin/sh
# One command on a Jetson board (or any machine with TensorRT): look, build, measure, and pack the report.
#
#   benchmarks/jetson.sh [CHECKPOINT.pt] [SUSTAIN]        e.g. benchmarks/jetson.sh edge.pt 10m
#
# Without a checkpoint the bundled edge-256 and edge-256-int8 are measured, which needs no torch. With one, engines in
# fp16 and int8 at 256 and 512 are built of it, which needs the extras [train,quantize] and, for int8, a calibration set
# in $CALIBRATION (see `edge-segface calibrate`); without it int8 is left out. What is built already is taken again.
# Results go to $OUT, engines of one checkpoint to a folder of theirs in it. Exits with 1 if anything could not be done.
set -u
absolute() { # a path that still holds after cd
    case $1 in /* | "") echo "$1" ;; *) echo "$PWD/$1" ;; esac
}
checkpoint=$(absolute "${1:-}")
calibration=$(absolute "${CALIBRATION:-}")
sustain=${2:-10m}
out=$(absolute "${OUT:-}")
out=${out%/}
cd "$(dirname "$0")/.." || exit 1
run=${RUN:-edge-segface}
: "${out:=$PWD/benchmarks/report-$(hostname)-$(date +%Y%m%d)}"
case $sustain in
*[!0-9smh.]* | "") echo "error: '$sustain' is no length of time; say 90s, 10m or 1h" >&2 && exit 2 ;;
esac
if [ -n "$checkpoint" ] && [ ! -f "$checkpoint" ]; then
    echo "error: $checkpoint does not exist" >&2
    exit 2
fi
engines=$out/bundled
if [ -n "$checkpoint" ]; then # of other weights, or calibrated with another set: other engines
    engines=$out/$(cat "$checkpoint" ${calibration:+"$calibration"/*} 2> /dev/null | cksum | cut -d ' ' -f 1)
fi
mkdir -p "$engines" || exit 1
status=0
failed() {
    echo "error: $*" >&2
    status=1
}

echo "== what is here"
$run doctor --json "$out/doctor.json" > "$out/doctor.txt" || failed "the default model does not run here"
cat "$out/doctor.txt"
nvpmodel -q > "$out/nvpmodel.txt" 2> /dev/null || echo "no nvpmodel: not a Jetson board" > "$out/nvpmodel.txt"

build() { # NAME MODEL [OPTIONS]: an engine, unless it is there
    name=$1
    shift
    if [ -f "$engines/$name.engine" ]; then
        echo "$name is there"
    else
        $run build-engine "$@" --out "$engines/$name.engine" --timing-cache "$out/timing" || failed "$name could not be built"
    fi
}

echo "== building"
for batch in 1 4; do
    if [ -z "$checkpoint" ]; then
        build "edge-256-fp32-b$batch" edge-256 --batch "$batch"
        build "edge-256-int8-b$batch" edge-256-int8 --batch "$batch"
        continue
    fi
    for size in 256 512; do
        build "$size-fp16-b$batch" "$checkpoint" --size "$size" --precision fp16 --batch "$batch"
        if [ -n "$calibration" ]; then
            build "$size-int8-b$batch" "$checkpoint" --size "$size" --precision int8 \
                --calibration "$calibration" --batch "$batch"
        fi
    done
done

echo "== measuring"
for batch in 1 4; do # an engine takes the batch that it was built for; edge-256 runs everywhere, to compare with
    set -- "$engines"/*-b"$batch".engine
    [ -e "$1" ] || set --
    $run benchmark "$@" edge-256 --batch "$batch" --json "$out/batch-$batch.json" --markdown "$out/batch-$batch.md" \
        --html "$out/batch-$batch.html" || failed "not everything was measured"
done
echo "== for $sustain each"
set -- "$engines"/*256*-b1.engine
[ -e "$1" ] || set -- edge-256
$run benchmark "$@" --sustain "$sustain" --json "$out/sustain.json" --html "$out/sustain.html" ||
    failed "the long run was not measured"
$run demo --out "$out/demo" || failed "the camera loop does not run here"

if tar -czf "$out.tar.gz" -C "$(dirname "$out")" --exclude '*.engine' --exclude '*.onnx' --exclude '*.timing' \
    --exclude '*.jit' "$(basename "$out")"; then
    echo "packed: $out.tar.gz — attach it to a pull request that adds its *.json to benchmarks/results"
else
    failed "the report could not be packed"
fi
exit $status
