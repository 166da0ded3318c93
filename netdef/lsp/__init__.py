"""The language server for .net and prototxt files.

`page` compiles a document; `context` analyzes the position of the cursor, also in an incomplete document; `answers` and
`names` use both for completion, hover and locations; `server` implements the protocol (with pygls).
"""
