"""How the program gets on with the machine: files, devices, processes, time."""
