// What the page says beside the element, in the reader's language.

const en = {
  keep: 'Keep this camera on this device',
  forget: 'Forget this camera on this device',
  picturesText: 'Single pictures, about one a second.',
  picturesAgain: 'Live video is tried again by itself.',
  picturesTrouble: (code: string): string => (code === 'unauthorized' || code === 'forbidden'
    ? 'This link has no right to single pictures either.'
    : code === 'rate-limited' ? 'Single pictures were asked for too often; the next one comes in a moment.'
    : code === 'no-pictures' ? '' : 'Single pictures do not come through either.'),
};
const de: typeof en = {
  keep: 'Diese Kamera auf diesem Gerät behalten',
  forget: 'Diese Kamera auf diesem Gerät vergessen',
  picturesText: 'Einzelne Bilder, etwa eines in der Sekunde.',
  picturesAgain: 'Live-Video wird von selbst wieder versucht.',
  picturesTrouble: (code) => (code === 'unauthorized' || code === 'forbidden'
    ? 'Dieser Link hat auch kein Recht auf einzelne Bilder.'
    : code === 'rate-limited' ? 'Einzelne Bilder wurden zu oft verlangt; das nächste kommt gleich.'
    : code === 'no-pictures' ? '' : 'Auch einzelne Bilder kommen nicht an.'),
};

export const pageTexts = (): typeof en => (navigator.language.toLowerCase().startsWith('de') ? de : en);
