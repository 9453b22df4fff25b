from edge_segface.cli import main

main()
