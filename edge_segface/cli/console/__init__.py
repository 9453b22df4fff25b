"""How the command line prints: messages, progress and tables."""
