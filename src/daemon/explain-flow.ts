export async function explainFlow(..._: unknown[]): Promise<never> {
  throw new Error("not yet");
}
