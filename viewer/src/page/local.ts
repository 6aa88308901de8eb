// Where the browser wants to be asked before the page may reach the reader's network: says so beside what failed, and asks.

import { guarded, permissionNames } from '../core/local.ts';
import type { Say } from '../core/words.ts';
import { textsFor } from '../texts/index.ts';

export class LocalNetwork {
  private readonly space: ReturnType<typeof guarded>;
  private status: PermissionStatus | undefined;
  private looked = false;

  /** `broker`: its URL, as the link has it. `changed`: what {@link over} says is another thing now; `granted`: try again. */
  constructor(
    private readonly button: HTMLButtonElement,
    private readonly broker: string,
    private readonly changed: () => void,
    private readonly granted: () => void,
  ) {
    const { hostname } = new URL(broker);
    // Without a way the device itself is what cannot be reached, and that is at home.
    this.space = guarded(location.hostname, hostname) ?? guarded(location.hostname, 'device.local');
    button.textContent = textsFor().page.localButton;
    button.addEventListener('click', () => void this.ask());
  }

  /** What is said in place of `say`. */
  over(say: Say): Say {
    const failed = say.phase === 'broker-waiting' || say.code === 'no-path';
    if (failed && !this.looked) void this.look();
    const state = failed ? this.status?.state : undefined;
    this.button.hidden = state !== 'prompt';
    if (state !== 'prompt' && state !== 'denied') return say;
    const { localAsk, localDenied } = textsFor().page;
    return { ...say, hint: state === 'prompt' ? localAsk : localDenied };
  }

  /** Browsers that know no such permission need none. */
  private async look(): Promise<void> {
    this.looked = true;
    if (!this.space) return;
    for (const name of permissionNames(this.space)) {
      try {
        this.status = await navigator.permissions.query({ name: name as PermissionName });
        break;
      } catch {
        continue;
      }
    }
    const { status } = this;
    if (!status) return;
    status.onchange = () => {
      this.changed();
      if (status.state === 'granted') this.granted();
    };
    this.changed();
  }

  /** A request to the broker's host makes the browser ask; what it answers doesn't matter, and whether it may be sent does neither. */
  private async ask(): Promise<void> {
    const url = this.broker.replace(/^ws/, 'http');
    try {
      await fetch(url, { mode: 'no-cors', credentials: 'omit', targetAddressSpace: this.space } as RequestInit);
    } catch {
      // the browser's own connections ask too
    }
    this.granted();
  }
}
