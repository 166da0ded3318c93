"""The language server for .net and prototxt files.

`page` compiles a document; `context` analyzes the position of the cursor, also in an incomplete document; `answers` and
`names` use both for completion, hover and locations, `fixes` and `shapes` for quick fixes and inlay hints; `server`
implements the protocol (with pygls), `protocol` the answers to messages that do not have its form.
"""
