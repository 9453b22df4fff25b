from edge_segface.cli.app import main

main()
