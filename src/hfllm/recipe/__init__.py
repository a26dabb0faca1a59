"""One YAML file, one model: the recipe language, its checks and where each value comes from."""
