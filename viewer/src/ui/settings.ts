// The panel of settings: draws the fields, sends what is chosen and says what became of it.

import type { Camera, Reply } from '../camera.ts';
import type { Texts } from '../texts/index.ts';
import { make, newId, setTo, write } from './dom.ts';
import { cropOf, fieldsOf, type Field } from './fields.ts';
import { Pacer } from './pacer.ts';
import { microphoneWords, speakerWords } from './soundwords.ts';

/** What is in view now, as a part of the picture that is shown; undefined when that is all of it. */
export type Enlarged = () => [number, number, number, number] | undefined;

type Input = HTMLInputElement | HTMLSelectElement;

interface Drawn {
  input: Input;
  show(field: Field): void;
}

export class Settings {
  readonly element = make('div', { class: 'ui-settings', part: 'settings' });
  private readonly notice = make('p', { class: 'ui-quiet' });
  private readonly outcome = make('p', { class: 'ui-outcome', role: 'status' });
  private readonly form = make('div');
  private drawn = new Map<string, Drawn>();
  private shape = '';
  /** Requests whose answers are awaited, by name: until then a field shows what the person chose. */
  private readonly asked = new Map<string, number>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private here: HTMLButtonElement | undefined;

  constructor(private readonly camera: Camera, private readonly texts: Texts, private readonly enlarged: Enlarged, private readonly cropped: () => void) {
    this.element.append(this.notice, this.form, this.outcome);
  }

  /** As it is when it is opened: nothing is asked and nothing said any more. */
  open(): void {
    this.shape = '';
    write(this.outcome, '');
    this.update();
  }

  /** Shows what the device says now. */
  update(): void {
    const { info, device, canAsk } = this.camera;
    const fields = fieldsOf(info, device, this.texts);
    const sound = [microphoneWords(info, device, this.texts), speakerWords(info, device, this.texts)].filter((words) => words !== undefined);
    const shape = JSON.stringify([fields.map(({ value: _, ...field }) => field), sound, info.features, this.camera.canAsk]);
    if (shape !== this.shape) {
      this.shape = shape;
      this.draw(fields, sound);
    }
    for (const field of fields) if (!this.asked.has(field.name)) this.drawn.get(field.name)?.show(field);
    if (this.here) this.here.disabled = !canAsk || this.enlarged() === undefined;
    const empty = fields.length === 0 && !this.form.hasChildNodes();
    write(this.notice, canAsk ? (empty ? this.texts.settings.nothing : '') : this.texts.settings.noChannel);
  }

  end(): void {
    for (const timer of this.timers) clearTimeout(timer);
  }

  private draw(fields: Field[], sound: string[]): void {
    const t = this.texts.settings;
    const focused = [...this.drawn].find(([, { input }]) => (input.getRootNode() as Document | ShadowRoot).activeElement === input)?.[0];
    this.drawn = new Map();
    this.form.replaceChildren();
    const group = (title: string, ...inside: Node[]): void => {
      if (inside.length === 0) return;
      this.form.append(make('fieldset', { disabled: !this.camera.canAsk }, make('legend', {}, title), ...inside));
    };
    const of = (wanted: Field['group']): Node[] => fields.filter((field) => field.group === wanted).map((field) => this.row(field));
    const has = (feature: string): boolean => this.camera.info.features?.includes(feature) ?? false;
    group(t.picture, ...of('picture'), ...(has('crop') ? [this.crop()] : []));
    group(t.sound, ...of('sound'), ...sound.map((words) => make('p', { class: 'ui-quiet', part: 'sound-state' }, words)));
    group(t.camera, ...of('camera'));
    if (has('privacy')) group(t.privacy, this.privacy());
    if (focused !== undefined) this.drawn.get(focused)?.input.focus();
  }

  private row(field: Field): HTMLElement {
    const id = newId();
    const why = field.fixed === undefined ? undefined : make('p', { id: `${id}-why`, class: 'ui-quiet' }, field.fixed);
    const common = { id, part: `setting ${field.kind}`, 'data-name': field.name, disabled: why !== undefined, 'aria-describedby': why?.id };
    const [drawn, ...shown] = this.input(field, common);
    this.drawn.set(field.name, drawn);
    return make('div', { class: `ui-row ui-${field.kind}` }, make('label', { for: id }, field.label), ...shown, ...(why ? [why] : []));
  }

  private input(field: Field, common: Record<string, string | boolean | undefined>): [Drawn, ...Node[]] {
    switch (field.kind) {
      case 'slider':
        return this.slider(field, common);
      case 'switch': {
        const input = make('input', { ...common, type: 'checkbox', role: 'switch' });
        input.addEventListener('change', () => void this.ask(field, input.checked ? 'ON' : 'OFF'));
        return [{ input, show: ({ value }) => (input.checked = value === true) }, input];
      }
      case 'menu': {
        const input = make('select', common, ...(field.options ?? []).map(([value, text]) => make('option', { value }, text)));
        input.addEventListener('change', () => void this.ask(field, input.value));
        return [{ input, show: ({ value }) => (input.value = String(value ?? '')) }, input];
      }
      default: {
        const input = make('input', { ...common, type: 'text', maxlength: 100, autocomplete: 'off', spellcheck: 'false' });
        const apply = make('button', { type: 'button', part: 'apply' }, this.texts.settings.apply);
        let was = '';
        const send = (): void => void this.ask(field, input.value);
        apply.addEventListener('click', send);
        input.addEventListener('keydown', (event) => {
          if (event.key === 'Enter') send();
        });
        // What somebody writes is theirs until it is sent.
        const show = ({ value }: Field): void => {
          if (input.value === was) input.value = String(value ?? '');
          was = String(value ?? '');
        };
        return [{ input, show }, input, apply];
      }
    }
  }

  private slider(field: Field, common: Record<string, string | boolean | undefined>): [Drawn, ...Node[]] {
    const { min = 0, max = 0, step = 1 } = field;
    const input = make('input', { ...common, type: 'range', min, max, step });
    const output = make('output', { for: String(common['id']) });
    const pacer = new Pacer<number>();
    const tell = (): void => write(output, input.valueAsNumber.toLocaleString(this.texts.locale));
    const take = (): void => {
      const value = pacer.take(performance.now());
      if (value !== undefined) void this.ask(field, value);
    };
    input.addEventListener('input', () => {
      tell();
      const value = pacer.offer(input.valueAsNumber, performance.now());
      if (value !== undefined) void this.ask(field, value);
      const due = pacer.dueIn(performance.now());
      if (due !== undefined) this.later(take, due);
    });
    const show = ({ value }: Field): void => {
      if (typeof value !== 'number' || pacer.dueIn(0) !== undefined) return;
      input.value = String(value);
      tell();
    };
    return [{ input, show }, input, output];
  }

  private crop(): HTMLElement {
    const t = this.texts.settings;
    this.here = make('button', { type: 'button', part: 'crop' }, t.cropHere);
    const all = make('button', { type: 'button', part: 'crop-all' }, t.cropAll);
    const field = { name: 'crop', label: t.crop };
    this.here.addEventListener('click', () => {
      const part = this.enlarged();
      if (!part) return;
      void this.ask(field, cropOf(part, this.camera.device.picture?.crop)).then(({ ok }) => ok && this.cropped());
    });
    all.addEventListener('click', () => void this.ask(field, []));
    return make('div', { class: 'ui-row ui-buttons', role: 'group', 'aria-label': t.crop }, make('span', {}, t.crop), this.here, all);
  }

  /** Asked about first: it ends the picture of everybody. */
  private privacy(): HTMLElement {
    const t = this.texts.settings;
    const off = make('button', { type: 'button', part: 'privacy' }, t.switchOff);
    const yes = make('button', { type: 'button', part: 'privacy-yes', class: 'ui-danger' }, t.yes);
    const cancel = make('button', { type: 'button', part: 'privacy-cancel' }, t.cancel);
    const words = make('p', { id: newId() }, t.question);
    const question = make('div', { role: 'group', 'aria-labelledby': words.id, hidden: true }, words, cancel, yes);
    const open = (is: boolean): void => {
      question.hidden = !is;
      off.hidden = is;
      (is ? cancel : off).focus();
    };
    off.addEventListener('click', () => open(true));
    cancel.addEventListener('click', () => open(false));
    yes.addEventListener('click', () => {
      open(false);
      void this.ask({ name: 'streaming', label: t.privacy }, 'OFF');
    });
    return make('div', { class: 'ui-buttons' }, off, question);
  }

  private async ask(field: { name: string; label: string }, value: unknown): Promise<Reply> {
    const { name, label } = field;
    const request = (this.asked.get(name) ?? 0) + 1;
    this.asked.set(name, request);
    let reply: Reply;
    try {
      reply = await this.camera.set(name, value);
    } catch {
      reply = { ok: false, error: 'not-connected' };
    }
    // Of a slider's many only the last is told.
    if (this.asked.get(name) !== request) return reply;
    const t = this.texts.settings;
    write(this.outcome, reply.ok ? t.done(label) : t.failed(label, errorWords(reply, this.texts)));
    setTo(this.outcome, 'data-ok', reply.ok);
    // The device tells the new value at once, but not before its reply: until then the old one is not shown again.
    this.later(() => {
      if (this.asked.get(name) !== request) return;
      this.asked.delete(name);
      this.update();
    }, reply.ok ? 1_500 : 0);
    return reply;
  }

  private later(act: () => void, ms: number): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, ms);
    this.timers.add(timer);
  }
}

export function errorWords({ error, message }: Reply, texts: Texts): string {
  const t = texts.settings;
  const known = new Map(Object.entries(t.errors)).get(error ?? '');
  const said = message ?? (known === undefined ? error : undefined);
  // `bad-message` alone says nothing of the value; the rest says it all, and in the reader's language.
  if (known !== undefined && (error !== 'bad-message' || !said)) return known;
  return said ? t.says(said) : t.errors['no-answer'] ?? '';
}
