// Starts `netdef lsp` for .net and .prototxt files.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async () => {
  const [command, ...args] = vscode.workspace.getConfiguration("netdef").get("command");
  client = new LanguageClient(
    "netdef",
    "netdef",
    { command, args },
    { documentSelector: [{ language: "netdef" }] },
  );
  try {
    await client.start();
  } catch (error) {
    vscode.window.showErrorMessage(
      `netdef: the language server did not start: ${error.message}. Run pip install "netdef[lsp]", or set netdef.command.`,
    );
  }
};

exports.deactivate = () => client?.stop();
