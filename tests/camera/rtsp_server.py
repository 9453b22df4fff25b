"""An RTSP server on loopback, for the system's Python, which has GStreamer's bindings. Prints its address."""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service("0")
factory = GstRtspServer.RTSPMediaFactory()
picture = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1"
factory.set_launch(f"( {picture} ! vp8enc deadline=1 ! rtpvp8pay name=pay0 )")
server.get_mount_points().add_factory("/test", factory)
server.attach(None)


def say_where() -> bool:
    sys.stdout.write(f"rtsp://127.0.0.1:{server.get_bound_port()}/test\n")
    sys.stdout.flush()
    return False


GLib.timeout_add(200, say_where)  # when it answers already
GLib.MainLoop().run()
