"""Recordings: read, salvaged, evaluated, made into data sets."""
