"""The language server: what an editor asks about a .net or prototxt file.

`page` reads a text as the compiler does; `context` tells where in a text that may be half written the cursor stands;
`answers` and `names` turn both into completions, explanations and places; `server` speaks the protocol (pygls).
"""
