// What case and DICOM say. Moves to the files of words by language.

const WORDS = {
  case: {
    title: 'Case', none: 'none', button: 'Case', begin: 'Begin this case', end: 'End the case', cancel: 'Cancel', keep: 'They are of this case', clear: 'Begin, and clear them',
    label: 'Identifier, typed or scanned', present: 'Now: {identifier}', begun: 'Case {identifier}.', ended: 'No case.', cleared: 'Images and regions of the case before were cleared.',
    question: 'Begin {identifier}?', 'question-end': 'End the case?', unsaved: 'Screens with images or regions that were not saved: {count}.', recording: 'A record is running; it will be ended.',
    'not-text': 'An identifier is text.', 'too-long': 'The identifier has {count} characters; DICOM allows {most}.', backslash: 'A backslash cannot be part of an identifier.',
    unseen: 'The identifier has characters that cannot be seen.', 'record-goes-on': 'The record could not be ended, so the case stays: {line}', 'no-link': 'No connection: the case stays as it was.',
    line: 'case {identifier}',
  },
  dicom: {
    title: 'DICOM', button: 'DICOM', image: 'Save this image', film: 'Save the film ({count} images)', 'send-image': 'Send this image', 'send-film': 'Send the film', check: 'Check {node}', close: 'Close', stop: 'Stop',
    where: 'Saved files go to the downloads of this browser.', 'where-folder': 'Saved files go to the folder of usert view.', node: 'Node: {node}', 'no-node-shown': 'No node: start usert view with --dicom-node.',
    patient: 'Patient ID: {identifier}', 'no-patient': 'No case: the Patient ID will be empty.', film_needs: 'Freeze first: a film is made of the images that were kept.',
    drawing: 'Drawing {done} of {count}', working: 'Working…', thinned: 'Every {step}th image: a film has at most {most}.',
    saved: 'Saved: {name}', sent: 'Sent to {node}.', there: '{node} is there.', busy: 'The last DICOM object is still being made.', 'no-image': 'There is no image to save yet.', stopped: 'Stopped. Nothing was saved.',
    lost: 'usert view did not answer. Nothing was saved.',
    'other-case': 'Another case has begun since. Nothing was saved.', 'disk-full': 'The disk of usert view is full. Nothing was saved.', 'folder-full': 'The DICOM folder holds {count} files: move them away. Nothing was saved.',
    'not-written': 'usert view could not write the file: {reason}. Nothing was saved.', 'no-node': 'No node: start usert view with --dicom-node.', 'unknown-host': '{node} is not known by that name.',
    unreachable: '{node} cannot be reached: {reason}.', rejected: '{node} rejects the connection: {reason}.', 'no-association': '{node} is there, but does not agree to a DICOM connection.',
    ended: '{node} ended the connection.', 'no-answer': '{node} did not answer. Whether it kept the image is not known.', refused: '{node} refused the image, status {code}.',
    position: 'image {at} of {count}, {seconds} s before the last', when: 'image age when saved: {age}',
  },
};

export function say(key, values = {}) {
  const [group, name] = key.split('.');
  return (WORDS[group]?.[name] ?? key).replace(/\{(\w+)\}/g, (_, value) => values[value] ?? '');
}

export const known = (key) => say(key) !== key;
