"""What batch i of pass p is, as a pure function: index, shuffling order, labels, sampling, reading and transforms."""
