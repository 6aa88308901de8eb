// The bar's icons, as paths in a box of 24 by 24.

export const ICONS = {
  fullscreen: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  leaveFullscreen: 'M9 4v5H4M20 9h-5V4M15 20v-5h5M4 15h5v5',
  pip: 'M3 5h18v14H3zM12 12h6v4h-6z',
  snapshot: 'M4 8h3l2-3h6l2 3h3v11H4zM12 16a3 3 0 1 0 0-6 3 3 0 0 0 0 6',
  record: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16M12 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4',
  stopRecording: 'M12 20a8 8 0 1 0 0-16 8 8 0 0 0 0 16M9.5 9.5h5v5h-5z',
  sound: 'M4 9v6h4l5 4V5L8 9zM17 9l5 6M22 9l-5 6',
  mute: 'M4 9v6h4l5 4V5L8 9zM17 9a4 4 0 0 1 0 6M19.5 6.5a8 8 0 0 1 0 11',
  talk: 'M12 15a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v6a3 3 0 0 0 3 3M6 11v1a6 6 0 0 0 12 0v-1M12 18v3M9 21h6',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6M8 20a3 3 0 1 0 0-6 3 3 0 0 0 0 6',
  statistics: 'M4 20V4M4 20h16M8 16l4-5 3 3 5-7',
  keys: 'M3 6h18v12H3zM7 10h.01M11 10h.01M15 10h.01M8 14h8',
  close: 'M6 6l12 12M18 6L6 18',
};
