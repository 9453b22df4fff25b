#!/bin/sh
# One command on a Jetson board (or any machine with TensorRT): look, build, measure, and pack the report.
#
#   benchmarks/jetson.sh [CHECKPOINT.pt] [SUSTAIN]        e.g. benchmarks/jetson.sh edge.pt 10m
#
# Without a checkpoint the bundled edge-256 and edge-256-int8 are measured, which needs no torch. With one, engines in
# fp16 and int8 at 256 and 512 are built of it, which needs the extras [train,quantize] and, for int8, a calibration set
# in $CALIBRATION (see `edge-segface calibrate`); without it int8 is left out. What is built already is taken again.
set -u
cd "$(dirname "$0")/.."
checkpoint=${1:-}
sustain=${2:-10m}
run=${RUN:-edge-segface}
out=${OUT:-benchmarks/report-$(hostname)-$(date +%Y%m%d)}
mkdir -p "$out"

echo "== what is here"
$run doctor --json "$out/doctor.json" | tee "$out/doctor.txt"
nvpmodel -q > "$out/nvpmodel.txt" 2> /dev/null || echo "no nvpmodel: not a Jetson board" > "$out/nvpmodel.txt"
jetson_clocks --show > "$out/jetson_clocks.txt" 2> /dev/null || true

build() { # NAME MODEL [OPTIONS]: an engine, unless it is there
    name=$1
    shift
    if [ -f "$out/$name.engine" ]; then
        echo "$name is there"
    else
        $run build-engine "$@" --out "$out/$name.engine" --timing-cache "$out/timing" || echo "$name could not be built"
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
        build "edge-$size-fp16-b$batch" "$checkpoint" --size "$size" --precision fp16 --batch "$batch"
        if [ -n "${CALIBRATION:-}" ]; then
            build "edge-$size-int8-b$batch" "$checkpoint" --size "$size" --precision int8 \
                --calibration "$CALIBRATION" --batch "$batch"
        fi
    done
done

echo "== measuring"
status=0
for batch in 1 4; do # an engine takes the batch that it was built for; edge-256 runs everywhere, to compare with
    set -- "$out"/*-b"$batch".engine
    [ -e "$1" ] || set --
    $run benchmark "$@" edge-256 --batch "$batch" --json "$out/batch-$batch.json" --markdown "$out/batch-$batch.md" \
        --html "$out/batch-$batch.html" || status=1
done
echo "== for $sustain"
set -- "$out"/*-b1.engine
[ -e "$1" ] || set -- edge-256
$run benchmark "$1" --sustain "$sustain" --json "$out/sustain.json" --html "$out/sustain.html" || status=1
$run demo --out "$out/demo" || status=1

tar -czf "$out.tar.gz" --exclude '*.engine' --exclude '*.onnx' --exclude '*.timing' --exclude '*.jit' "$out"
echo "packed: $out.tar.gz — attach it to a pull request that adds $out/*.json to benchmarks/results"
exit $status
