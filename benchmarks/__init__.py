"""One question a file, each asked of the same work done by several contenders: `tinygrad-ft bench NAME`."""
