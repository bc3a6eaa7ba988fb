"""Its place puts the repository on the path, so that every test can import `tests.ops.cases`."""
