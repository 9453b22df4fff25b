"""An RTSP server on loopback that prints its address. It runs in the system's Python, which has GStreamer's bindings.

Exits with `BINDINGS_MISSING` if they are not installed.
"""

import sys

BINDINGS_MISSING = 77


def main() -> None:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError):
        sys.exit(BINDINGS_MISSING)
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    frames = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1"
    factory.set_launch(f"( {frames} ! vp8enc deadline=1 ! rtpvp8pay name=pay0 )")
    server.get_mount_points().add_factory("/test", factory)
    server.attach(None)
    print(f"rtsp://127.0.0.1:{server.get_bound_port()}/test", flush=True)  # noqa: T201
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
