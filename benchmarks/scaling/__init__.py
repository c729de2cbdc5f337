"""A million examples: time, memory, growth with the rows and with the processes."""
