"""The words of the design as values: ids, paths, operations, changes, views, the queue.

Pure data and the rules that need nothing else. Nothing here performs I/O.
"""
