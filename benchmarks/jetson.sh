#!/bin/sh
# Measure a Jetson board (or any machine with TensorRT): check it, build engines, benchmark them, and pack the report.
#
#   benchmarks/jetson.sh [CHECKPOINT.pt] [SUSTAIN]        e.g. benchmarks/jetson.sh edge.pt 10m
#
# Without a checkpoint it measures the bundled edge-256 and edge-256-int8, which needs no torch. From a checkpoint it
# builds engines in fp16 and int8 at 256 and 512, which needs the extras [train,quantize] and, for int8, a calibration
# set in $CALIBRATION (see `edge-segface calibrate`); without one, int8 is skipped. Existing engines are reused.
# Results go to $OUT, with one folder of engines for each checkpoint. Exits with 1 if any step failed.
set -u
absolute() { # so that a path stays valid after cd
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
*[!0-9smh.]* | "") echo "error: '$sustain' is not a valid duration; use for example 90s, 10m or 1h" >&2 && exit 2 ;;
esac
if [ -n "$checkpoint" ] && [ ! -f "$checkpoint" ]; then
    echo "error: $checkpoint was not found" >&2
    exit 2
fi
engines=$out/bundled
if [ -n "$checkpoint" ]; then # other weights or another calibration set give other engines
    engines=$out/$(cat "$checkpoint" ${calibration:+"$calibration"/*} 2> /dev/null | cksum | cut -d ' ' -f 1)
fi
mkdir -p "$engines" || exit 1
status=0
failed() {
    echo "error: $*" >&2
    status=1
}

echo "== machine"
$run doctor --json "$out/doctor.json" > "$out/doctor.txt" || failed "the default model does not run on this machine"
cat "$out/doctor.txt"
nvpmodel -q > "$out/nvpmodel.txt" 2> /dev/null || echo "nvpmodel not found: not a Jetson board" > "$out/nvpmodel.txt"

build() { # NAME MODEL [OPTIONS]: build an engine unless it exists
    name=$1
    shift
    if [ -f "$engines/$name.engine" ]; then
        echo "$name exists"
    else
        $run build-engine "$@" --out "$engines/$name.engine" --timing-cache "$out/timing" || failed "$name was not built"
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
for batch in 1 4; do # an engine runs only the batch it was built for; edge-256 in ONNX Runtime is the common baseline
    set -- "$engines"/*-b"$batch".engine
    [ -e "$1" ] || set --
    $run benchmark "$@" edge-256 --batch "$batch" --json "$out/batch-$batch.json" --markdown "$out/batch-$batch.md" \
        --html "$out/batch-$batch.html" || failed "some models were not measured"
done
echo "== sustained load, $sustain each"
set -- "$engines"/*256*-b1.engine
[ -e "$1" ] || set -- edge-256
$run benchmark "$@" --sustain "$sustain" --json "$out/sustain.json" --html "$out/sustain.html" ||
    failed "the sustained load was not measured"
$run demo --out "$out/demo" || failed "the camera loop does not run on this machine"

if tar -czf "$out.tar.gz" -C "$(dirname "$out")" --exclude '*.engine' --exclude '*.onnx' --exclude '*.timing' \
    --exclude '*.jit' "$(basename "$out")"; then
    echo "packed: $out.tar.gz — attach it to a pull request that adds its *.json to benchmarks/results"
else
    failed "the report was not packed"
fi
exit $status
