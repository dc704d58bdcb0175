// Compiles the ink beside this file and writes down what inkjs makes of it: `npm install inkjs@2.4.0`, then
// `node make.mjs`. Each play takes its choices in another way: the first, the last, the second and so on in turn.
import { createRequire } from "node:module";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const here = new URL(".", import.meta.url);
const { Compiler, Story } = createRequire(new URL("file:" + process.cwd() + "/"))("inkjs/full");

function play(json, pick, seed) {
  const story = new Story(json);
  story.allowExternalFunctionFallbacks = true;
  story.state.storySeed = seed;
  story.state.previousRandom = 0;
  const shown = [];
  for (let step = 0; step < 60; step += 1) {
    while (story.canContinue) shown.push([story.Continue().trimEnd(), ...story.currentTags]);
    if (!story.currentChoices.length) break;
    const choices = story.currentChoices.map((choice) => choice.text);
    const taken = pick(step, choices.length);
    shown.push({ choices, tags: story.currentChoices.map((choice) => choice.tags ?? []), taken });
    story.ChooseChoiceIndex(taken);
  }
  return shown;
}

for (const name of readdirSync(here).filter((file) => file.endsWith(".ink"))) {
  const compiler = new Compiler(readFileSync(new URL(name, here), "utf-8"));
  let json;
  try {
    json = compiler.Compile().ToJson();
  } catch {
    console.error(name, compiler.errors);
    process.exit(1);
  }
  writeFileSync(new URL(`${name}.json`, here), `${json}\n`);
  const plays = [0, 1, 2, 3, 4].map((way) => {
    const pick = (step, count) => (way === 0 ? 0 : way === 1 ? count - 1 : (step * way + 1) % count);
    return { way, seed: 11 * way, shown: play(json, pick, 11 * way) };
  });
  writeFileSync(new URL(`${name.replace(".ink", "")}.plays.json`, here), `${JSON.stringify(plays, null, 1)}\n`);
}
