"""`prep verify --leaks`: groups, identical shards and near-identical images in two splits or folds."""
