"""How operators become kernels: one operator family a file, and the table of them all."""
