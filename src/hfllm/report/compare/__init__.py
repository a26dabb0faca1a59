"""Several runs, or steps of runs, side by side: `hfllm compare`."""
