"""Pages in a web browser: a net as a diagram, a run with its curves, a folder of runs.

    netdef view model.net                  serves the page of a file on this machine
    netdef draw model.net -o model.html    writes the same diagram as one file

A page is a value: frozen dataclasses (`net_page`, `run_page`, `folder_page`), which `server` sends as JSON and the
scripts in `assets` draw.  `server` needs starlette and uvicorn; nothing else here does.  Looking runs no code that a
net names: nets are read, and runs are tested, without trust.
"""
