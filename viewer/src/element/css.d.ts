// Styles that are bundled as text (build.mjs minifies them).

declare module '*.css' {
  const text: string;
  export default text;
}
