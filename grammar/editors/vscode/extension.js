// Starts `netdef lsp` for .net and .prototxt files.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = async () => {
  const settings = vscode.workspace.getConfiguration("netdef");
  const [command, ...args] = settings.get("command");
  const initializationOptions = { trustPython: settings.get("trustPython"), importPath: settings.get("importPath") };
  client = new LanguageClient(
    "netdef",
    "netdef",
    { command, args },
    { documentSelector: [{ language: "netdef" }], initializationOptions },
  );
  try {
    await client.start();
  } catch (error) {
    vscode.window.showErrorMessage(
      `netdef: the language server did not start: ${error.message}. Run pip install pygls, or set netdef.command.`,
    );
  }
};

exports.deactivate = () => client?.stop();
