"""What `sipmask benchmark` measures: images, contenders, the machine's peak, the record."""
