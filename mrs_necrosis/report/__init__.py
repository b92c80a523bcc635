"""An analysis as text, JSON, table, figure and one-file page. No arithmetic happens here.

``files.write`` writes everything; ``text.summary`` is what the terminal shows.
"""
