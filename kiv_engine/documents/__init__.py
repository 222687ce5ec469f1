"""Files of every kind as text, with the way back to page, section, row or line. Parsing runs in a process of its own.

Free of torch: the parsing process must start fast. `opening.open_document` is the one way in; `worker` is the other
side; `kinds` says who reads what; every format has a file of its own.
"""
