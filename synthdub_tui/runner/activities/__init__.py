"""One module for each kind of work on a job: upload its source, submit paid requests, download a language."""
