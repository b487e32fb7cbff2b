"""The node agent: samples a compute node and sends line-protocol batches."""
