// One camera that fills the page: its element, a form for what a link lacks, and pictures where live video cannot be had.

import { bearerToken } from '../core/access.ts';
import { complete, isDamage, type Fields } from '../core/link.ts';
import { sayFlaws } from '../core/words.ts';
import type { CameraState, PortholeCamera } from '../element/element.ts';
import { Fallback } from '../net/fallback.ts';
import { LocalNetwork } from './local.ts';
import { fetchServed } from './served.ts';
import { textsFor } from '../texts/index.ts';

export class Single {
  private readonly form = document.getElementById('setup') as HTMLFormElement;
  private readonly picture = document.getElementById('picture') as HTMLImageElement;
  private readonly title = document.getElementById('title') as HTMLElement;
  private asked = false;

  constructor(
    readonly camera: PortholeCamera,
    readonly fields: Fields,
    connect: (broker: string, device: string) => void,
  ) {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const data = new FormData(this.form);
      connect(String(data.get('broker')), String(data.get('device')));
    });
    this.write();
    const link = complete(fields, location.protocol);
    const fallback = Array.isArray(link) ? undefined : this.fallback(link.device, link.secret);
    const local = Array.isArray(link)
      ? undefined
      : new LocalNetwork(document.getElementById('local') as HTMLButtonElement, link.url, () => camera.update(), () => camera.retry());
    // Beside the form there is more to say than the element can.
    const flawed = Array.isArray(link) && !link.some(isDamage) ? sayFlaws(link, textsFor()) : undefined;
    camera.interpose = (said, attempt) => {
      if (flawed && said.phase === 'setup') return flawed;
      fallback?.hear(said, attempt);
      const say = fallback?.over(said, textsFor().page) ?? said;
      return local?.over(say) ?? say;
    };
    camera.addEventListener('state', (event) => this.onState((event as CustomEvent<CameraState>).detail));
    for (const type of ['state', 'camera']) camera.addEventListener(type, () => this.showName());
    camera.fields = fields;
    this.showName();
  }

  /** The form and the picture, in the reader's language. */
  private write(): void {
    const { element, page } = textsFor();
    for (const field of ['broker', 'device'] as const) this.form.querySelector(`label[for=${field}]`)!.textContent = page[`${field}Label`];
    this.input('device').title = page.deviceRule;
    this.form.querySelector('button')!.textContent = page.watch;
    this.picture.alt = element.livePicture(this.fields.name ?? this.fields.device ?? '');
  }

  private input(field: 'broker' | 'device'): HTMLInputElement {
    return this.form.elements.namedItem(field) as HTMLInputElement;
  }

  private onState({ phase, code }: CameraState): void {
    document.documentElement.dataset['phase'] = phase;
    this.form.hidden = phase !== 'setup';
    if (phase === 'setup') this.fillForm();
    if (code !== 'broker-refused' || this.asked) return;
    this.asked = true; // whose broker that was decides what its refusal means
    void fetchServed().then(({ ownBroker }) => (this.camera.ownBroker = ownBroker));
  }

  private showName(): void {
    const { name } = this.camera.camera;
    if (this.title.textContent === name) return;
    this.title.textContent = name;
    document.title = `${name} · Porthole`;
  }

  private fillForm(): void {
    for (const field of ['broker', 'device'] as const) {
      const input = this.input(field);
      if (input.value === '') input.value = this.fields[field] ?? '';
    }
  }

  private fallback(device: string, secret: string | undefined): Fallback {
    const fallback = new Fallback({
      // Only the page's own origin gets the token: what a broker says of addresses is not to be trusted with it.
      base: async () => ((await fetchServed()).device === device ? document.baseURI : undefined),
      token: secret === undefined ? undefined : bearerToken(secret),
      onPicture: (picture) => this.showPicture(picture),
      retry: () => this.camera.retry(),
      changed: () => this.camera.update(),
    });
    document.addEventListener('visibilitychange', () => fallback.setHidden(document.hidden));
    return fallback;
  }

  private showPicture(picture: Blob | undefined): void {
    const before = this.picture.src;
    if (picture) this.picture.src = URL.createObjectURL(picture);
    else this.picture.removeAttribute('src');
    this.picture.hidden = !picture;
    if (before !== '') URL.revokeObjectURL(before);
  }
}
