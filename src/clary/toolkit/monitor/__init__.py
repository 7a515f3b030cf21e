"""The analyzer of Model Monitor: what runs behind AWS's image `sagemaker-model-monitor-analyzer`. One pass over the rows, bounded memory.

Formats and words are AWS's (developer guide: "Schema for statistics", "Schema for constraints", "Schema for violations", "Container
contract inputs"); where AWS leaves something open, the modules say what was chosen.
"""
