"""The machine the program runs on: files, devices, processes, memory, signals, time."""
