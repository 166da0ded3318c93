// Loads the grammar as VS Code does, and checks the scopes of tokens in some lines.
const fs = require("fs");
const path = require("path");
const oniguruma = require("vscode-oniguruma");
const { Registry, parseRawGrammar } = require("vscode-textmate");

const folder = path.join(__dirname, "..");
const wanted = [
  // line, token, scope of the token
  ['import "std/conv.net"', "import", "keyword.control.import"],
  ["let width: 64  # channels", "width", "variable.other.constant"],
  ["let width: 64  # channels", "64", "constant.numeric"],
  ["let width: 64  # channels", "# channels", "comment.line"],
  ["template conv(name, kernel: 3) {", "conv", "entity.name.function"],
  ["template conv(name, kernel: 3) {", "kernel", "variable.parameter"],
  ["for i in range(1, 4) {", "range", "support.function"],
  ["for i in range(1, 4) {", "in", "keyword.control.loop"],
  ["if width > 32 { } else { }", "if", "keyword.control.conditional"],
  ["if width > 32 { } else { }", "else", "keyword.control.conditional"],
  ['layer { name: "conv${i + 1}" type: "ReLU" }', "layer", "storage.type"],
  ['layer { name: "conv${i + 1}" type: "ReLU" }', "name", "variable.other.member"],
  ['layer { name: "conv${i + 1}" type: "ReLU" }', "conv", "string.quoted.double"],
  ['layer { name: "conv${i + 1}" type: "ReLU" }', "i", "variable.other"],
  ['layer { name: "conv${i + 1}" type: "ReLU" }', '"ReLU"', "entity.name.type"],
  ["pooling_param { pool: MAX kernel_size: 2 }", "pooling_param", "entity.name.tag"],
  ["pooling_param { pool: MAX kernel_size: 2 }", "MAX", "constant.other.enum"],
  ["bias_term: false", "false", "constant.language"],
  ["lr: 1.5e-4", "1.5e-4", "constant.numeric"],
  ['source: "$${HOME}"', "$${", "constant.character.escape"],
];

async function main() {
  const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm")).buffer;
  await oniguruma.loadWASM(wasm);
  const file = path.join(folder, "syntaxes", "netdef.tmLanguage.json");
  const registry = new Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => parseRawGrammar(fs.readFileSync(file, "utf8"), file),
  });
  const grammar = await registry.loadGrammar("source.netdef");
  let failures = 0;
  for (const [line, words, scope] of wanted) {
    const tokens = grammar.tokenizeLine(line).tokens;
    const found = tokens.find((t) => line.slice(t.startIndex, t.endIndex).trim() === words);
    if (!found || !found.scopes.some((s) => s.startsWith(scope))) {
      failures += 1;
      console.error(`${line}\n  ${words}: ${found ? found.scopes.join(" ") : "token not found"}, not ${scope}`);
    }
  }
  // In complete files, no rule is open at the end.
  for (const name of process.argv.slice(2)) {
    let state = null;
    for (const line of fs.readFileSync(name, "utf8").split(/\r?\n/)) state = grammar.tokenizeLine(line, state).ruleStack;
    if (state.depth !== 1) {
      failures += 1;
      console.error(`${name}: a rule is still open at the end`);
    }
  }
  console.log(failures ? `${failures} failures` : `${wanted.length} tokens correct`);
  process.exit(failures ? 1 : 0);
}

main();
