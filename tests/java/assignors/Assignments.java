import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.consumer.internals.ConsumerProtocol;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/** Reads cases, one a line (see crates/kafka/tests/assignors.rs), and prints what Java's assignors make of each. */
public class Assignments {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String result;
            try {
                result = answer(line.split(" "));
            } catch (RuntimeException e) {
                result = "throws";
            }
            out.append('#').append(result).append('\n');
        }
        System.out.print(out);
    }

    private static String answer(String[] words) {
        ConsumerPartitionAssignor assignor = switch (words[0]) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            case "sticky" -> new StickyAssignor();
            default -> new CooperativeStickyAssignor();
        };
        List<PartitionInfo> partitions = new ArrayList<>();
        for (String topic : words[1].split(",")) {
            String name = topic.substring(0, topic.indexOf(':'));
            String[] racks = topic.substring(topic.indexOf(':') + 1).split("\\.");
            for (int i = 0; i < racks.length; i++) {
                List<Node> replicas = new ArrayList<>();
                for (char rack : racks[i].toCharArray()) {
                    replicas.add(rack == '-' ? new Node(99, "h", 1) : new Node(rack, "h", 1, String.valueOf(rack)));
                }
                Node[] nodes = replicas.toArray(new Node[0]);
                partitions.add(new PartitionInfo(name, i, null, nodes, nodes));
            }
        }
        Cluster cluster = new Cluster("c", Collections.emptyList(), partitions, Collections.emptySet(), Collections.emptySet());
        Map<String, Subscription> subscriptions = new HashMap<>();
        for (String member : words[2].split(",")) {
            String[] parts = member.split("/");
            Subscription subscription =
                ConsumerProtocol.deserializeSubscription(ByteBuffer.wrap(HexFormat.of().parseHex(parts[2])));
            subscription.setGroupInstanceId(parts[1].equals("-") ? Optional.empty() : Optional.of(parts[1]));
            subscriptions.put(parts[0], subscription);
        }
        Map<String, Assignment> assignments =
            new TreeMap<>(assignor.assign(cluster, new GroupSubscription(subscriptions)).groupAssignment());
        List<String> shares = new ArrayList<>();
        assignments.forEach((member, assignment) -> {
            List<TopicPartition> share = new ArrayList<>(assignment.partitions());
            share.sort((a, b) -> a.topic().equals(b.topic())
                ? Integer.compare(a.partition(), b.partition()) : a.topic().compareTo(b.topic()));
            List<String> names = new ArrayList<>();
            share.forEach(partition -> names.add(partition.toString()));
            shares.add(member + "=" + String.join("+", names));
        });
        return String.join(",", shares);
    }
}
