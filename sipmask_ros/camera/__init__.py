"""`camera_source`: a camera, a video or the demo scene as a publisher of images."""
