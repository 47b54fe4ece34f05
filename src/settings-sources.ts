import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import type { ConfigDocument } from './config/document.ts';
import { describePlace, describeProblem, showValue } from './config/problem.ts';
import { parseYaml } from './config/yaml.ts';
import { unknownName } from './lib/known-options.ts';
import {
  isKubernetesServiceVariable,
  type Setting,
  type SettingKey,
  type SettingValue,
  settingsFileVariable,
  settingsTable,
} from './settings-table.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** What one place says: the environment, or `inmesh.yaml`. Paths are absolute. */
export interface Layer {
  readonly values: { readonly [K in SettingKey]?: SettingValue<K> };
  /** How this place writes a setting, for messages: `INMESH_CA_URL`, `inmesh.yaml:3:1: caUrl`. */
  name(key: SettingKey): string;
}

const settings = Object.entries(settingsTable) as [SettingKey, Setting<unknown>][];

/** Reads the `INMESH_*` variables. What is wrong or unknown becomes a problem. */
export function readEnvironment(env: Environment, cwd: string, problems: string[]): Layer {
  const values: Record<string, unknown> = {};
  const names: Partial<Record<SettingKey, string>> = {};
  const known = new Set<string>([settingsFileVariable]);
  for (const [key, setting] of settings) {
    const fallback = setting.fallbackVariable;
    known.add(setting.variable);
    const given = env[setting.variable]?.trim() ? setting.variable : fallback;
    const text = given === undefined ? '' : (env[given] ?? '').trim();
    if (given === undefined || text === '') continue;
    names[key] = given;
    const parsed = setting.parse(text);
    if (parsed !== undefined) values[key] = setting.path === true ? resolve(cwd, text) : parsed;
    else {
      // The other names are not ours: whoever set one may have meant something else.
      const remedy = given === setting.variable ? '' : `; ${setting.variable} overrides it`;
      problems.push(`${wrong(given, setting, text)}${remedy}`);
    }
  }
  for (const name of Object.keys(env)) {
    if (!name.startsWith('INMESH_') || known.has(name) || isKubernetesServiceVariable(name)) continue;
    problems.push(`${name}: ${unknownName('variable', name, known)}`);
  }
  return { values, name: (key) => names[key] ?? settingsTable[key].variable };
}

/** Reads `inmesh.yaml` in `cwd`, or the file that `INMESH_SETTINGS` names. Nothing when there is none. */
export function readSettingsFile(
  env: Environment,
  cwd: string,
  problems: string[],
): { readonly layer: Layer; readonly path: string } | undefined {
  const named = env[settingsFileVariable]?.trim() || undefined;
  const path = resolve(cwd, named ?? 'inmesh.yaml');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (named !== undefined) problems.push(`${settingsFileVariable}: cannot be read: ${message}`);
    else if (code !== 'ENOENT') problems.push(`inmesh.yaml: cannot be read: ${message}`);
    return undefined;
  }
  const shown = named ?? (relative(cwd, path) || path);
  const parsed = parseYaml(text, shown);
  problems.push(...parsed.problems.map(describeProblem));
  if (parsed.problems.length > 0) return undefined;
  const [document, second] = parsed.documents;
  if (second !== undefined) problems.push(`${shown}: must hold one document, got ${parsed.documents.length}`);
  // A document may be empty, or hold nothing but comments.
  const empty = document === undefined || document.value === null;
  const layer = empty ? { values: {}, name: String } : readDocument(document, dirname(path), problems);
  return { layer, path };
}

function readDocument(document: ConfigDocument, directory: string, problems: string[]): Layer {
  const values: Record<string, unknown> = {};
  const name = (key: string, ofKey = false): string => {
    const position = document.locate([key], ofKey);
    const at = { kind: '', namespace: '', name: '', file: document.file ?? '', ...position };
    return `${describePlace(at)}: ${key}`;
  };
  const { value } = document;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${document.file}:1:1: must be a map of settings, got ${showValue(value)}`);
    return { values: {}, name };
  }
  const known = new Map<string, Setting<unknown>>(settings);
  for (const [key, given] of Object.entries(value)) {
    const setting = known.get(key);
    if (setting === undefined) problems.push(`${name(key, true)}: ${unknownName('setting', key, known.keys())}`);
    else {
      const accepted = setting.accept(given);
      if (accepted === undefined) problems.push(wrong(name(key), setting, given));
      else values[key] = setting.path === true ? resolve(directory, String(accepted)) : accepted;
    }
  }
  return { values, name };
}

/** `INMESH_CA_URL: must be an https URL, got "http://ca"`. */
export function wrong(name: string, setting: Setting<unknown>, value: unknown): string {
  return `${name}: must be ${setting.mustBe}${setting.secret === true ? '' : `, got ${showValue(value)}`}`;
}
