"""A web page that shows a running loop, for boards without a screen."""
