"""How the runner and its clients talk: messages and their framing, both ends of the socket, its place, and starting a runner.
Nothing about dubbing belongs here, and nothing that draws."""
