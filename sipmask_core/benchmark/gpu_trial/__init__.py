"""What a CUDA GPU says of the project, all of it in one folder that can be sent to its authors."""
