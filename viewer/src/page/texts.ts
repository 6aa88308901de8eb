// What the page says beside the element, in the reader's language.

const en = {
  keep: 'Keep this camera on this device',
  forget: 'Forget this camera on this device',
};
const de: typeof en = {
  keep: 'Diese Kamera auf diesem Gerät behalten',
  forget: 'Diese Kamera auf diesem Gerät vergessen',
};

export const pageTexts = (): typeof en => (navigator.language.toLowerCase().startsWith('de') ? de : en);
