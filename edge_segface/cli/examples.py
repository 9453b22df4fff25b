"""The examples at the end of every `--help`, in one place: (what it is for, the command line)."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "demo": (
        ("Both frame rates on this machine, and an image to look at", "edge-segface demo"),
        ("A short run of the int8 model", "edge-segface demo -m edge-256-int8 --frames 100"),
    ),
    "doctor": (
        ("What runs here, and what to install", "edge-segface doctor"),
        ("The same, for a bug report", "edge-segface doctor -j doctor.json"),
    ),
    "info": (
        ("F1, size, work and licence of the default model", "edge-segface info"),
        ("The specification of a file, as JSON", "edge-segface info model.onnx --json model.json"),
    ),
    "parse": (
        ("All faces of a photo", "edge-segface parse photo.jpg"),
        ("A folder, with an image and outlines of each face",
         "edge-segface parse photos/ -o parsed --crops --polygons"),
        ("Portraits that are crops already, in the ids of LaPa", "edge-segface parse heads/ --whole --labels lapa11"),
    ),
    "webcam": (
        ("The first camera, in a window", "edge-segface webcam"),
        ("A stream, as a live page", "edge-segface webcam --source rtsp://camera/1 --headless --serve 127.0.0.1:8080"),
        ("A video, recorded with its overlay", "edge-segface webcam --source in.mp4 --headless --record out.mkv"),
        ("Two cameras on one engine, ten frames a second of each",
         "edge-segface webcam --source 0 --source rtsp://camera/1 --headless --max-fps 10 --save-masks masks"),
    ),
    "train": (
        ("Try it without a dataset", "edge-segface train drawn -o run"),
        ("Your own labelled images", "edge-segface train edge --dataset folder -d faces -o run"),
        ("Continue an interrupted run", "edge-segface train edge --dataset folder -d faces -o run --resume"),
    ),
    "pseudo-label": (
        ("Label a folder of faces with a trained network",
         "edge-segface pseudo-label faces/images --teacher run/best.pt -o labelled"),
        ("By two networks, at 384",
         "edge-segface pseudo-label faces/*.jpg --teacher a.pt --teacher b.pt -o labelled --size 384"),
        ("With hats from masks that have rough edges",
         "edge-segface pseudo-label hats/images --teacher a.pt -o labelled --coarse hats/masks --coarse-parts hat"),
    ),
    "recipes": (
        ("All recipes", "edge-segface recipes"),
        ("All values of one, as JSON", "edge-segface recipes edge --json edge.json"),
    ),
    "evaluate": (
        ("Your own labelled images", "edge-segface evaluate edge-256 --dataset folder -d faces"),
        ("With the label space of their masks named, and a report",
         "edge-segface evaluate edge-256 --dataset folder -d faces --labels lapa11 -j f1.json"),
        ("CelebAMask-HQ, as in the paper", "edge-segface evaluate run/best.pt --dataset celebamask -d CelebAMask-HQ"),
    ),
    "balance": (
        ("Tune on the images held out for choosing",
         "edge-segface balance run/best.pt -o balanced.pt --dataset folder -d faces"),
    ),
    "fetch": (
        ("The official weights of SegFace with MobileNet", "edge-segface fetch segface-mobilenet-celeb-512"),
    ),
    "export": (
        ("At the size of the training", "edge-segface export run/best.pt -o model.onnx"),
        ("Smaller and faster, with logits for smoothing",
         "edge-segface export run/best.pt -o model.onnx --size 192 --outputs both"),
        ("For a Raspberry Pi", "edge-segface export edge-256 --format ncnn -o edge.ncnn.param"),
        ("A page that parses in the browser", "edge-segface export edge-256 --format web -o site"),
    ),
    "calibrate": (
        ("From labelled images", "edge-segface calibrate -o set.npz --dataset folder -d faces"),
        ("From the camera that will be used", "edge-segface calibrate -o set.npz -s 0 --seconds 120"),
    ),
    "quantize": (
        ("To fp16", "edge-segface quantize edge-256 --precision fp16 -o half.onnx"),
        ("To int8, if the mean F1 drops by at most 0.5",
         "edge-segface quantize model.onnx --precision int8 --calibration set.npz "
         "--dataset folder -d faces -o int8.onnx"),
    ),
    "build-engine": (
        ("For TensorRT, on the device that will run it", "edge-segface build-engine edge-256-int8 -o edge.engine"),
        ("For OpenVINO", "edge-segface build-engine edge-256 -o edge.xml"),
        ("Only print the steps", "edge-segface build-engine run/best.pt -o edge.engine --precision fp16 --dry-run"),
    ),
    "package": (
        ("A model repository for Triton", "edge-segface package edge-256 -o models --for triton"),
        ("A folder for DeepStream", "edge-segface package edge-256 -o pipeline --for deepstream"),
    ),
    "benchmark": (
        ("Two models, interleaved", "edge-segface benchmark edge-256 edge-256-int8"),
        ("Ten minutes under load, with a page of plots",
         "edge-segface benchmark edge-256 --sustain 10m --html bench.html -j bench.json"),
        ("Compare two reports", "edge-segface benchmark --compare before.json after.json"),
    ),
    "estimate": (
        ("On all known boards", "edge-segface estimate edge-256"),
        ("On one board", "edge-segface estimate edge-256 --board orin-nano-8gb --precision fp16"),
    ),
}  # fmt: skip
