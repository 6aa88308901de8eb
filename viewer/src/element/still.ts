// The picture that is on the screen, as a file.

export type StillType = 'image/jpeg' | 'image/png';

/** Undefined while the video shows none, and where the browser cannot draw it. */
export async function stillOf(video: HTMLVideoElement, type: StillType): Promise<Blob | undefined> {
  if (!video.videoWidth || !video.videoHeight) return undefined;
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  if (!context) return undefined;
  try {
    context.drawImage(video, 0, 0);
    return await new Promise((done) => canvas.toBlob((blob) => done(blob ?? undefined), type, 0.92));
  } catch (error) {
    console.debug('porthole: snapshot', error);
    return undefined;
  }
}
