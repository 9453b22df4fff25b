from edge_segface.isolation import forget_working_folder

forget_working_folder()  # before anything is imported that a file in it could stand in for

from edge_segface.cli import main  # noqa: E402

main()
