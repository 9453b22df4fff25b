"""A program that runs a GStreamer pipeline, as gst-launch-1.0 does, with properties that are set instead of parsed.

It reads one line of JSON from stdin: the words of the pipeline, and properties of its named elements. A value that is
set is only ever a value, whatever characters it has, and is not among the arguments of a process, which every user of
the machine can list. Messages are those of gst-launch-1.0. The program ends with the pipeline, or when stdin closes.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import select
import signal
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_uint, c_uint64, c_void_p
from types import FrameType

NULL, PAUSED, PLAYING = 1, 3, 4  # GstState
FAILED, ASYNC, NO_PREROLL = 0, 2, 3  # GstStateChangeReturn
EOS, ERROR, CLOCK_LOST, LATENCY = 1 << 0, 1 << 1, 1 << 7, 1 << 19  # GstMessageType
POLL_NS = 100_000_000


class GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p))


class GstMessage(ctypes.Structure):
    """The first fields of a message, those of GstMiniObject before its type."""

    _fields_ = (
        ("gtype", ctypes.c_size_t),
        ("refcount", c_int),
        ("lockstate", c_int),
        ("flags", c_uint),
        ("functions", c_void_p * 3),
        ("priv_uint", c_uint),
        ("priv_pointer", c_void_p),
        ("type", c_uint),
        ("timestamp", c_uint64),
        ("source", c_void_p),
    )


SIGNATURES = {
    "gst_init": (None, [c_void_p, c_void_p]),
    "gst_parse_launchv": (c_void_p, [POINTER(c_char_p), POINTER(POINTER(GError))]),
    "gst_bin_get_by_name": (c_void_p, [c_void_p, c_char_p]),
    "gst_bin_recalculate_latency": (c_int, [c_void_p]),
    "gst_util_set_object_arg": (None, [c_void_p, c_char_p, c_char_p]),
    "gst_element_set_state": (c_int, [c_void_p, c_int]),
    "gst_element_get_bus": (c_void_p, [c_void_p]),
    "gst_bus_timed_pop": (POINTER(GstMessage), [c_void_p, c_uint64]),
    "gst_message_parse_error": (None, [c_void_p, POINTER(POINTER(GError)), POINTER(c_char_p)]),
    "gst_object_get_path_string": (c_char_p, [c_void_p]),
    "gst_mini_object_unref": (None, [c_void_p]),
}


def load_gstreamer() -> ctypes.CDLL:
    library = ctypes.CDLL(ctypes.util.find_library("gstreamer-1.0") or "libgstreamer-1.0.so.0")
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def main() -> int:
    task = json.loads(sys.stdin.readline())
    stopping = [False]

    def stop(_: int, __: FrameType | None) -> None:
        stopping[0] = True

    signal.signal(signal.SIGTERM, stop)
    gst = load_gstreamer()
    gst.gst_init(None, None)
    words = [word.encode() for word in task["words"]]
    error = POINTER(GError)()
    pipeline = gst.gst_parse_launchv((c_char_p * (len(words) + 1))(*words, None), byref(error))
    if error or not pipeline:
        return say(f"WARNING: erroneous pipeline: {text_of(error)}")
    for element_name, properties in task["properties"].items():
        element = gst.gst_bin_get_by_name(pipeline, element_name.encode())
        for name, value in properties.items():
            gst.gst_util_set_object_arg(element, name.encode(), value.encode())
    try:
        return run(gst, pipeline, stopping)
    finally:
        gst.gst_element_set_state(pipeline, NULL)


def run(gst: ctypes.CDLL, pipeline: int, stopping: list[bool]) -> int:
    """Play until the end of the stream, an error, a signal, or the end of stdin; return the exit code."""
    bus = gst.gst_element_get_bus(pipeline)
    change = gst.gst_element_set_state(pipeline, PAUSED)
    if change == NO_PREROLL:
        say("Pipeline is live and does not need PREROLL ...")
    elif change == ASYNC:
        say("Pipeline is PREROLLING ...")
    if change != FAILED:
        change = gst.gst_element_set_state(pipeline, PLAYING)
    while not stopping[0] and not (select.select([sys.stdin], [], [], 0)[0] and not sys.stdin.readline()):
        message = gst.gst_bus_timed_pop(bus, 0 if change == FAILED else POLL_NS)
        if not message:
            if change == FAILED:
                return say("ERROR: the pipeline does not start")
            continue
        kind = message.contents.type
        if kind == ERROR:
            return say(described(gst, message))
        if kind == LATENCY:
            gst.gst_bin_recalculate_latency(pipeline)
        elif kind == CLOCK_LOST:
            gst.gst_element_set_state(pipeline, PAUSED)
            gst.gst_element_set_state(pipeline, PLAYING)
        gst.gst_mini_object_unref(message)
        if kind == EOS:
            return 0
    return 0


def described(gst: ctypes.CDLL, message: ctypes._Pointer[GstMessage]) -> str:
    """Return an error message of an element, and its details in a second line."""
    error, details = POINTER(GError)(), c_char_p()
    gst.gst_message_parse_error(message, byref(error), byref(details))
    place = (gst.gst_object_get_path_string(message.contents.source) or b"").decode(errors="replace")
    return f"ERROR: from element {place}: {text_of(error)}\n{(details.value or b'').decode(errors='replace')}"


def text_of(error: ctypes._Pointer[GError]) -> str:
    return (error.contents.message or b"").decode(errors="replace") if error else "unknown"


def say(text: str) -> int:
    """Print a line at once, and return the exit code of a failure."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
    return 1


if __name__ == "__main__":
    sys.exit(main())
